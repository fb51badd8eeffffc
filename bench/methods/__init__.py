"""METHODS: every attention method under its name. A new method is one file and one line here."""

METHODS: dict[str, str] = {
    "softmax": "bench.methods.softmax:Softmax",
    "window_softmax": "bench.methods.softmax:WindowSoftmax",
    "relu_kernel": "bench.methods.kernel:ReluKernel",
    "elu_kernel": "bench.methods.kernel:EluKernel",
    "sigmoid_kernel": "bench.methods.kernel:SigmoidKernel",
    "qk_layernorm_free": "bench.methods.qk_layernorm:QKLayerNormFree",
    "qk_layernorm_fixed": "bench.methods.qk_layernorm:QKLayerNormFixed",
    "qk_layernorm_weight_clipped": "bench.methods.qk_layernorm:QKLayerNormWeightClipped",
    "qk_layernorm_gradient_clipped": "bench.methods.qk_layernorm:QKLayerNormGradientClipped",
    "sigma_reparam_qk": "bench.methods.sigma_reparam:SigmaReparamQK",
}
