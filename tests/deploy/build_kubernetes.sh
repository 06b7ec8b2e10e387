#!/usr/bin/env bash
# Builds Kubernetes' API server, controllers and scheduler with Go, for test_kubernetes.py: build_kubernetes.sh DIRECTORY
# It takes about six minutes of a processor. etcd has to be put beside them; Debian has it in the package etcd-server.
set -euo pipefail
version=${KUBERNETES_VERSION:-1.34.2}
out=$(mkdir -p "$1" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The libraries that are published with it are in its repository, and its module refers to them there.
source=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^.*"GoMod": "\(.*\)",$/\1/p')
{
    echo "module build"
    grep '^go ' "$source"
    echo "require k8s.io/kubernetes v$version"
    sed -n 's|^\s*\(k8s.io/[a-z-]*\) => ./staging/.*$|replace \1 => \1 v0.'"${version#1.}|p" "$source"
} >go.mod
programs=()
{
    echo "package main"
    for program in kube-apiserver kube-controller-manager kube-scheduler; do
        programs+=("k8s.io/kubernetes/cmd/$program")
        echo "import _ \"k8s.io/kubernetes/cmd/$program/app\""
    done
    echo "func main() {}"
} >main.go
go mod tidy

flags="-X k8s.io/client-go/pkg/version.gitVersion=v$version"
for name in "gitVersion=v$version" gitMajor=1 "gitMinor=$(echo "$version" | cut -d. -f2)" gitTreeState=clean; do
    flags+=" -X k8s.io/component-base/version.$name"
done
go build -ldflags "$flags" -o "$out/" "${programs[@]}"
ls "$out"
