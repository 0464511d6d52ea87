# One image for every part of a federation: development chain, aggregator, node, command line.
#
#   docker build --tag fedchain .
#
# TORCH_INDEX: package index to take torch from besides pip's own. PyTorch's installation guide names one for each
# build; its CPU build spares gigabytes of CUDA packages where there is no such device.
# UID: the user that the daemons run as. Password files are mounted as they are, so it must be able to read them.

FROM node:22-slim AS anvil
WORKDIR /anvil
COPY contracts/package.json contracts/package-lock.json ./
RUN npm install --no-save --ignore-scripts --no-audit --no-fund

FROM python:3.11-slim
ARG TORCH_INDEX=""
ARG UID=1000

COPY --from=anvil /anvil/node_modules/@foundry-rs/anvil-linux-*/bin/anvil /usr/local/bin/anvil

# The largest dependency has a layer of its own, which changes of the code leave in place.
WORKDIR /src
COPY constraints.txt ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE ./
COPY contracts/IFederationLedger.sol contracts/FederationLedger.sol contracts/
COPY fedchain fedchain
RUN pip install --no-cache-dir --constraint constraints.txt '.[demo]'

# Named volumes take over the owner of the folder that they are first mounted on.
RUN useradd --uid "$UID" --create-home fedchain
WORKDIR /federation
COPY nodes nodes
RUN cd nodes && for folder in . devnet governor aggregator hospital-*; do install -d -o fedchain "$folder/data"; done

USER fedchain
ENTRYPOINT ["fedchain"]
CMD ["--help"]
