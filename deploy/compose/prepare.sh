#!/usr/bin/env bash
# Makes what the three nodes of compose.yaml need, once: the key-encryption key, certificates, configurations, in run/.
# CONCLAVE_IMAGE names the image, conclave by default.
set -euo pipefail
cd "$(dirname "$0")"
image=${CONCLAVE_IMAGE:-conclave}
[ ! -e run ] || { echo "run/ is there already: remove it, and the volumes with 'docker compose down -v', to begin anew"; exit 0; }

# Others on this machine do not come into run/; what is in it is read by the containers' user.
umask 077
mkdir -p run/new/pki
conclave() {
    docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD/run/new/pki:/pki" "$image" "$@"
}

conclave pki init --dir /pki --cluster-id trial
conclave pki issue --dir /pki --cluster-id trial --role admin --name admin
for n in 1 2 3; do
    conclave pki issue --dir /pki --cluster-id trial --node-id "$n" --name "node-$n" --host "node-$n"
done
od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >run/new/kek

for n in 1 2 3; do
    etc=run/new/node-$n
    mkdir "$etc"
    cp run/new/kek "$etc/kek"
    cp run/new/pki/ca.pem run/new/pki/admin.pem run/new/pki/admin-key.pem "$etc"
    cp "run/new/pki/node-$n.pem" "$etc/node.pem"
    cp "run/new/pki/node-$n-key.pem" "$etc/node-key.pem"
    sed "s/@NODE@/$n/" conclave.toml >"$etc/conclave.toml"
    chmod -R a+rX "$etc"
done
# All or nothing: a half-made directory is not taken for a whole one.
mv run/new/* run/
rmdir run/new
echo "made; now: docker compose up"
