#!/bin/bash
# Train a suite on a Slurm allocation: a Ray cluster for as long as the job lasts.
#
#   sbatch --nodes=4 --gpus-per-node=8 infra/ray/slurm.sh SUITE [options of `bench run`]
#
# Run it from a folder that all nodes see. Submitting again trains what is left.
#
#   BENCH_VENV    virtual environment with this project, on a drive that all nodes see    (.venv)
#   BENCH_STORE   results and checkpoints, on a drive that all nodes see                  (.bench)
#   BENCH_PORT    of Ray on the first node; jobs that share a node need different ones    (by the job's number)
#   MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD               if a server keeps the results
#
#SBATCH --job-name=bench
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Two minutes before the time is up: the driver ends and delivers what is finished.
#SBATCH --signal=B:TERM@120

set -euo pipefail
umask 077

suite=${1:?usage: sbatch [options of sbatch] slurm.sh SUITE [options of bench run]}
shift
: "${SLURM_JOB_ID:?run it with sbatch}"
venv=$(realpath "${BENCH_VENV:-.venv}")
store=$(realpath --canonicalize-missing "${BENCH_STORE:-.bench}")
port=${BENCH_PORT:-$((20000 + SLURM_JOB_ID % 10000))} # Ray's own range for workers ends below
mkdir -p "$store"
export PATH="$venv/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
# At the end the nodes are idle: nothing to wait for.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=5
# srun does not take it over by itself since Slurm 22.05.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# A token for this job alone, in a file that only its user reads. Other users of the nodes reach Ray's ports.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN_PATH=$(mktemp "$store/ray-token.XXXXXXXX")
export RAY_AUTH_TOKEN_PATH
od --address-radix=n --read-bytes=32 --format=x1 /dev/urandom | tr --delete ' \n' >"$RAY_AUTH_TOKEN_PATH"

# Ray lets everybody write into its folder: it lies in one that only this user enters, whose name nobody can foresee.
temporary=$(mktemp --directory /tmp/ray-XXXXXXXX)

steps=()
driver=
# shellcheck disable=SC2329  # the trap calls it
finish() {
    status=$?
    trap - EXIT
    [[ -z $driver ]] || kill -TERM "$driver" 2>/dev/null || true
    ((${#steps[@]} == 0)) || kill -TERM "${steps[@]}" 2>/dev/null || true
    wait || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
    rm -rf "$temporary"
    exit "$status"
}
trap finish EXIT

# The first node is the one that this script runs on.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(hostname -I | awk '{for (i = 1; i <= NF; i++) if ($i !~ /:/) {print $i; exit}}'):$port
start=(ray start --block --disable-usage-stats --num-cpus="$SRUN_CPUS_PER_TASK")

echo "Ray's head on $head, $address" >&2
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    "${start[@]}" --head --port="$port" --node-ip-address="${address%:*}" --include-dashboard=false \
    --ray-client-server-port=$((port + 10000)) --min-worker-port=0 --max-worker-port=0 \
    --temp-dir="$temporary/r" >&2 &
steps+=($!)

others=$((SLURM_JOB_NUM_NODES - 1))
# Workers give up on a head that is not there within a minute or so: it has to come first.
until ray health-check --address "$address" >/dev/null 2>&1; do
    kill -0 "${steps[0]}" 2>/dev/null || { echo "Ray's head did not start" >&2; exit 4; }
    sleep 1
done
if ((others > 0)); then
    srun --nodes="$others" --ntasks="$others" --ntasks-per-node=1 --exclude="$head" \
        "${start[@]}" --address="$address" --min-worker-port=0 --max-worker-port=0 >&2 &
    steps+=($!)
fi

# A run plans by what is there when it starts.
python - "$address" "$SLURM_JOB_NUM_NODES" <<'PYTHON'
import sys, time
import ray

address, wanted = sys.argv[1], int(sys.argv[2])
ray.init(address=address, log_to_driver=False, logging_level="ERROR")
end = time.monotonic() + 300
while (found := sum(node["Alive"] for node in ray.nodes())) < wanted:
    if time.monotonic() > end:
        sys.exit(f"{found} of {wanted} nodes joined the Ray cluster within 5 minutes")
    time.sleep(1)
PYTHON

# In the background, so that a signal is handled at once and not when the run ends.
python -m bench.cli run "$suite" --address "$address" --store "$store" "$@" &
driver=$!
trap 'kill -TERM "$driver"' TERM
status=0
wait "$driver" || status=$?
if kill -0 "$driver" 2>/dev/null; then # the signal ended `wait`, not the driver
    status=0
    wait "$driver" || status=$?
fi
driver=
exit "$status"
