# A small image of `ringback serve`. The CA is made at the first start, in the volume /var/lib/ringback; no key is in
# the image. Clients find its certificate by `ringback ca --export pem --output /shared/ca.pem`. Listening beyond loopback needs RINGBACK_PROXY_PASSWORD: give it as a secret.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/ringback && /opt/ringback/bin/pip install --no-cache-dir '.[fleet]'

FROM python:3.13-slim
COPY --from=build /opt/ringback /opt/ringback
COPY scripts/container/health.py scripts/container/place_ca.py /opt/ringback/
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/ringback --create-home ringback \
    && install -d -o ringback /shared
ENV PATH=/opt/ringback/bin:$PATH \
    RINGBACK_HOME=/var/lib/ringback \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/ringback
VOLUME ["/var/lib/ringback", "/shared"]
EXPOSE 4010
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "/opt/ringback/health.py", "4010"]
ENTRYPOINT ["ringback"]
CMD ["serve", "--host", "0.0.0.0", "--port", "4010"]
