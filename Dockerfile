# Two stages: the first builds the environment, the last has no build tools and does not run as root.
FROM python:3.13-slim-trixie AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
WORKDIR /stint
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-default-groups
COPY manage.py ./
COPY portal ./portal
COPY accounts ./accounts
COPY grants ./grants
COPY templates ./templates
COPY .ci/check.env ./check.env
# The files' names carry their hashes, so they are made once, here. No secret is needed for it.
RUN set -a && . ./check.env && STINT_STATIC_ROOT=/stint/static .venv/bin/python manage.py collectstatic --noinput \
    && rm -r check.env portal/demo portal/embedded.py

FROM python:3.13-slim-trixie
RUN useradd --system --uid 10001 --home-dir /stint --shell /usr/sbin/nologin stint \
    && install -d -m 0700 -o stint /data /tokens /state
WORKDIR /stint
COPY --from=build /stint /stint
ENV PATH=/stint/.venv/bin:$PATH PYTHONUNBUFFERED=1 DJANGO_SETTINGS_MODULE=portal.settings STINT_WEB_HOST=0.0.0.0 \
    STINT_STATIC_ROOT=/stint/static
USER stint
VOLUME /data /tokens /state
EXPOSE 8000
CMD ["python", "-m", "portal.web"]
