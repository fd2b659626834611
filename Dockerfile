# The production image: one for web, worker, migrations and commands. docs/deployment.md says how it is run.
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" -t portico .

FROM python:3.13.14-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_CACHE_DIR=/var/cache/pip

# Locked by hash, and wheels only: nothing is compiled, and no code of a package runs while it is installed.
COPY requirements.txt /requirements.txt
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: -r /requirements.txt

# What .dockerignore lets in. Compiled here, because the running container can't write.
COPY . /app
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/venv /app


FROM python:3.13.14-slim-trixie

LABEL org.opencontainers.image.title="Portico" \
      org.opencontainers.image.licenses="MIT"

RUN groupadd --gid 10001 portico \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin portico

COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLASK_APP=app \
    FLASK_CONFIG=production \
    FLASK_HOST=0.0.0.0 \
    PORT=8000

# Shown by /api/v1/status. Last, so that a new commit costs one small layer.
ARG COMMIT=""
ENV APP_COMMIT=$COMMIT

WORKDIR /app
# Profile pictures, for those who keep them in a volume rather than in a bucket; a new volume takes over the owner.
RUN install -d -o 10001 -g 10001 /media
USER 10001:10001
EXPOSE 8000

# No dependency of the app is asked: a container is not to be replaced because the database is away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=2)"]

CMD ["gunicorn", "app:application"]
