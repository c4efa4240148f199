FROM python:3.12.12-slim-bookworm AS build
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv /plimsoll && /plimsoll/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN /plimsoll/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12.12-slim-bookworm AS node
RUN useradd --uid 10001 --no-create-home plimsoll
COPY --from=build /plimsoll /plimsoll
ENV PATH=/plimsoll/bin:$PATH NUMBA_CACHE_DIR=/tmp/numba
USER plimsoll
ENTRYPOINT ["plimsoll"]

# the local chain compiles contracts, with Node.js, and fetches the protocols' own packages with npm
FROM node:20.19.5-bookworm-slim AS npm

FROM node AS chain
USER root
COPY --from=npm /usr/local/bin/node /usr/local/bin/node
COPY --from=npm /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && install -d -o plimsoll /cache /home/plimsoll
ENV XDG_CACHE_HOME=/cache HOME=/home/plimsoll
USER plimsoll

FROM node
