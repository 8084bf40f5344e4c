# The package and its commands. This file has not been built yet: no Docker was at hand.
#
#   docker build -t mots .                                       # torch as the package index has it (CUDA)
#   docker build -t mots:cpu --build-arg TORCH_INDEX=URL .       # from another index, as pytorch.org names
#                                                                # them for CPU-only and each CUDA version
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/data" mots predict -i ct.nii.gz -o out
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" mots pretrain -i prepared -o model

FROM python:3.11-slim AS build
WORKDIR /source
RUN pip install --no-cache-dir build
COPY pyproject.toml README.md LICENSE ./
COPY mots_pretrained mots_pretrained
COPY hub hub
RUN python -m build --wheel --outdir /wheels
# The torch that pyproject.toml allows, so that it is installed together with torchvision.
RUN python -c "import tomllib; \
    needs = tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']; \
    print(*[need for need in needs if need.startswith('torch')])" > /wheels/torch.txt

FROM python:3.11-slim
# By which Triton compiles its driver; without it attention is computed by torch, more slowly.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX=""
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r /wheels/torch.txt torchvision
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[dicom,export,tensorboard]" && rm -r /wheels
# Any user may run it; caches lie in the container unless a volume is mounted there.
ENV HOME=/tmp NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /data
ENTRYPOINT ["mots"]
CMD ["--help"]
