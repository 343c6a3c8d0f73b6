# The service and the publishing program, alone in an image: no shell, nothing to update.
#
#   docker build --tag orderbox .
#
# The base images are arguments, for a registry of one's own or for a machine without any (.ci/images).
ARG BUILD_IMAGE=golang:1.26
ARG RUN_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
ARG GOPROXY
WORKDIR /src
# A layer of its own, which only a change of the requirements makes again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /out/ ./cmd/orderbox ./cmd/publish

FROM ${RUN_IMAGE}
# For a broker or a database behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
# Nobody in particular: a number needs no /etc/passwd.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/orderbox"]
CMD ["serve"]
