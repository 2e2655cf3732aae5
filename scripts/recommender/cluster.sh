#!/usr/bin/env bash
# A standalone Spark cluster on this machine, a master and two workers of one core each, for as long as a command runs:
#
#     scripts/recommender/cluster.sh spark-submit --master spark://127.0.0.1:7077 ...
#
# PYTHON: the interpreter that has pyspark; PORT: the master's; MEMORY: of each worker.
set -euo pipefail
PYTHON="${PYTHON:-python3}" PORT="${PORT:-7077}" MEMORY="${MEMORY:-2g}"
SPARK_HOME="$("$PYTHON" -c 'import pyspark; print(pyspark.__path__[0])')"
PYSPARK_PYTHON="$(command -v "$PYTHON")"
export SPARK_HOME PYSPARK_PYTHON SPARK_LOCAL_IP=127.0.0.1
export PATH="$SPARK_HOME/bin:$PATH"
master="spark://127.0.0.1:$PORT"
logs="$(mktemp -d)"
started=()

stop() {
  kill "${started[@]}" 2>/dev/null || true
  wait "${started[@]}" 2>/dev/null || true
  rm -rf "$logs"
}
trap stop EXIT

start() {
  local name=$1
  shift
  spark-class "$@" >"$logs/$name.log" 2>&1 &
  started+=($!)
}

start master org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$PORT" --webui-port 0
for worker in 1 2; do
  start "worker-$worker" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --cores 1 --memory "$MEMORY" --webui-port 0 \
    --work-dir "$logs/worker-$worker" "$master"
done

for _ in $(seq 60); do
  if [ "$(grep -c 'Registering worker' "$logs/master.log")" = 2 ]; then
    "$@"
    exit
  fi
  sleep 1
done
echo "the workers did not register:" >&2
cat "$logs"/*.log >&2
exit 1
