# The worker's image, and with `--target emulator` the local FCM's.
#
#   docker build -t fcm-dispatcher .
#   docker run --read-only --cap-drop ALL -e DISPATCHER_REDIS_URL=... -e DISPATCHER_CREDENTIALS=/keys -v ./keys:/keys:ro fcm-dispatcher
#
# Everything that is installed stands in a lock file with its hash (`make lock` writes them). What is copied into the
# last stages is one folder: no compiler, no pip, no setuptools.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements-build.lock ./
RUN ["pip", "install", "--require-hashes", "--no-deps", "-r", "requirements-build.lock"]
COPY requirements.lock ./
RUN ["python", "-m", "venv", "--without-pip", "/opt/dispatcher"]
RUN ["pip", "--python", "/opt/dispatcher/bin/python", "install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", "requirements.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY dispatcher dispatcher
RUN ["pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "/wheels", "."]
RUN pip --python /opt/dispatcher/bin/python install --no-deps --no-index /wheels/*.whl \
    && /opt/dispatcher/bin/python -m compileall -q /opt/dispatcher/lib

FROM build AS build-emulator
COPY requirements-emulator.lock ./
RUN ["pip", "--python", "/opt/dispatcher/bin/python", "install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", "requirements-emulator.lock"]

# What both images stand on: the interpreter, without what could install more.
FROM python:3.11.14-slim-bookworm AS base
RUN ["python", "-m", "pip", "uninstall", "--yes", "--quiet", "--root-user-action=ignore", "setuptools", "wheel", "pip"]
RUN ["useradd", "--system", "--uid", "10001", "--no-create-home", "--shell", "/usr/sbin/nologin", "dispatcher"]
ENV PATH=/opt/dispatcher/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /

FROM base AS emulator
RUN ["install", "-d", "-o", "10001", "/keys"]
COPY --from=build-emulator /opt/dispatcher /opt/dispatcher
USER 10001
EXPOSE 9099
STOPSIGNAL SIGTERM
ENTRYPOINT ["dispatcher"]
CMD ["emulator", "--host", "0.0.0.0"]

FROM base AS worker
LABEL org.opencontainers.image.title="fcm-dispatcher" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/dispatcher /opt/dispatcher
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["dispatcher"]
CMD ["worker"]
