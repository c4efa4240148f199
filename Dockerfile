FROM python:3.12-slim AS build
WORKDIR /source
COPY requirements.lock ./
RUN python -m venv /plimsoll && /plimsoll/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN /plimsoll/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home plimsoll
COPY --from=build /plimsoll /plimsoll
ENV PATH=/plimsoll/bin:$PATH NUMBA_CACHE_DIR=/tmp/numba
USER plimsoll
ENTRYPOINT ["plimsoll"]
