# syntax=docker/dockerfile:1
# Three stages: build with the full toolchain, fetch ONNX Runtime, run from a slim image as an ordinary user.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first: they change rarely, and take most of the build.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --locked --profile dist && rm -rf src
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --locked --profile dist

# ONNX Runtime as its makers publish it, for the fast engine; without it the embedded one answers.
FROM python:3.11-slim-bookworm AS onnxruntime
RUN pip install --no-cache-dir --no-deps --target /wheel onnxruntime==1.32.0 \
    && mkdir /onnxruntime && cp /wheel/onnxruntime/capi/libonnxruntime.so.* /onnxruntime/ \
    && cp /wheel/onnxruntime/LICENSE /wheel/onnxruntime/ThirdPartyNotices.txt /onnxruntime/

FROM debian:bookworm-slim
# Certificates are for photos fetched from https URLs, the C++ library for ONNX Runtime.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home vitrine
COPY --from=build /src/target/dist/vitrine /usr/local/bin/vitrine
COPY --from=onnxruntime /onnxruntime /opt/onnxruntime/lib
COPY models /usr/share/vitrine/models
USER vitrine
VOLUME /data
EXPOSE 8080
# A listener that is not loopback needs keys: mount a keys file, see `vitrine keys new`.
ENV VITRINE_LISTEN=0.0.0.0:8080 \
    VITRINE_DATA_DIR=/data \
    VITRINE_MODELS_DIR=/usr/share/vitrine/models \
    VITRINE_KEYS_FILE=/run/secrets/vitrine-keys \
    VITRINE_LOG_FORMAT=json
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD curl -fsS http://127.0.0.1:8080/health/ready || exit 1
ENTRYPOINT ["vitrine"]
CMD ["serve"]
