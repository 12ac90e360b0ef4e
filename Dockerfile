# One image for the three components and the command line: a Python, AdmitLB, and no shell, package manager, compiler
# or setuid program. `make image` builds it, with Docker, Podman or Buildah.
#
# BASE_IMAGE is where Python (3.11 or newer, with venv) and the C library come from: any image of a Debian relative
# will do, also one made by hand with debootstrap. Pin it by digest for a build that can be repeated.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Another package index, its certificate and the like; nothing of it is left in the image.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_CERT
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Bytecode comes out the same every time: sets in one order, and none with the time of a file in it.
ENV PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# The files of a package are what their hashes say or the build ends; nothing is resolved here. Bytecode that is not
# checked against its source stays valid whatever times an image builder gives the files.
RUN python3 -m venv /tools \
 && /tools/bin/pip install --quiet --require-hashes --no-deps --only-binary=:all: -r requirements-build.lock \
 && python3 -m venv --without-pip /opt/admitlb \
 && /tools/bin/pip --python /opt/admitlb/bin/python3 install --quiet --require-hashes --no-deps --only-binary=:all: \
        --no-compile -r requirements.lock
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY manifests manifests
COPY allocator allocator
COPY webhook webhook
COPY speaker speaker
# The asynchronous twin of the Kubernetes client is 68 MB that nothing imports. Of its 57 MB for each kind of object,
# and of scapy, the few modules in use are compiled when they are imported. Only our own commands stay.
RUN /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /tools/bin/pip --python /opt/admitlb/bin/python3 install --quiet --no-deps --no-index --no-compile /wheel/*.whl \
 && cd /opt/admitlb \
 && rm -rf lib/python3*/site-packages/kubernetes/aio \
 && find lib -depth -type d -name tests -exec rm -rf {} + \
 && find bin -type f -not -name '*admitlb' -delete \
 && bin/python3 -m compileall -qf --invalidation-mode unchecked-hash -x 'kubernetes/client/(api|models)/[a-z]|scapy/' lib

# Python, what it and the packages link to, and nothing else of the base.
RUN set -eu; \
    command=$(command -v python3); python=$(readlink -f "$command"); \
    library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    for folder in "$(dirname "$command")" "$library" /opt /dev /etc /proc /run /sys /var; do \
        mkdir -p "/rootfs$folder"; \
    done; \
    cp -a "$python" "$command" "/rootfs$(dirname "$command")"; \
    cp -a "$library/." "/rootfs$library"; \
    cp -a /opt/admitlb /rootfs/opt; \
    cd "/rootfs$library"; \
    rm -rf config-* dist-packages distutils ensurepip idlelib lib2to3 pydoc_data site-packages test tkinter \
        turtledemo; \
    for module in _codecs_ _crypt _ctypes_test _curses _dbm _gdbm _test _tkinter _xx nis ossaudiodev readline; do \
        rm -f lib-dynload/"$module"*; \
    done; \
    find . -name __pycache__ -prune -exec rm -rf {} +; \
    find . -xtype l -delete; \
    python3 -m compileall -qf --invalidation-mode unchecked-hash -s /rootfs -p / .; \
    { echo "$python"; find /rootfs -type f -name '*.so*'; find / -xdev -name libgcc_s.so.1; } > /tmp/programs; \
    xargs -n 1 ldd < /tmp/programs | grep -o '/[^ ]*' | cat - /tmp/programs | sort -u | grep -v '^/rootfs' > /tmp/linked; \
    while read -r file; do mkdir -p "/rootfs$(dirname "$file")"; cp -L "$file" "/rootfs$file"; done < /tmp/linked; \
    cp -L /etc/os-release /etc/ld.so.cache /rootfs/etc; \
    echo 'hosts: files dns' > /rootfs/etc/nsswitch.conf; \
    printf 'root:x:0:0::/:/nologin\nnobody:x:65534:65534::/:/nologin\n' > /rootfs/etc/passwd; \
    printf 'root:x:0:\nnogroup:x:65534:\n' > /rootfs/etc/group; \
    mkdir -m 1777 /rootfs/tmp; \
    ln -s ../run /rootfs/var/run; \
    chroot /rootfs /opt/admitlb/bin/admitlb --help > /dev/null

FROM scratch
COPY --from=build /rootfs /
ENV PATH=/opt/admitlb/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Nobody in particular. The speaker alone needs more, and its manifest says so.
USER 65534:65534
ENTRYPOINT ["admitlb"]
CMD ["--help"]
LABEL org.opencontainers.image.title="AdmitLB" \
      org.opencontainers.image.description="LoadBalancer IPs for bare-metal Kubernetes, assigned at admission" \
      org.opencontainers.image.licenses="Apache-2.0"
