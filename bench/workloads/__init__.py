"""WORKLOADS: every workload under its name."""

WORKLOADS: dict[str, str] = {
    "in_context_regression": "bench.workloads.in_context_regression:InContextRegression",
    "language_modeling": "bench.workloads.language_modeling:LanguageModeling",
    "image_classification": "bench.workloads.image_classification:ImageClassification",
    "speech_recognition": "bench.workloads.speech_recognition:SpeechRecognition",
    "self_supervised_images": "bench.workloads.self_supervised_images:SelfSupervisedImages",
    "translation": "bench.workloads.translation:Translation",
}
