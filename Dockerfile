# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm
WORKDIR /card
COPY pyproject.toml README.md LICENSE LICENSE-text requirements.lock ./
COPY card card
COPY data data
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir --constraint requirements.lock '.[lab]'
WORKDIR /run
ENTRYPOINT ["card"]
