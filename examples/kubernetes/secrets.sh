#!/bin/sh
# secrets.sh FOLDER NAMESPACE [SERVICE]: makes what an installation keeps secret, once: a token, a certificate for the engine's Service in that
# namespace and passwords of the PostgreSQL to try out; for another Service its certificate alone. What is there already is left alone.
# Without cert-manager this is how the Secrets come about.
set -eu
umask 077
folder=$1 namespace=$2 name=${3:-pymigrate-engine}
mkdir -p "$folder"
cd "$folder"
if [ "$name" = pymigrate-engine ]; then
    [ -e token ] || openssl rand -hex 32 | tr -d '\n' >token
    [ -e store-password ] || openssl rand -hex 16 | tr -d '\n' >store-password
    [ -e connections.env ] ||
        printf 'LEGACY_PASSWORD=%s\nWAREHOUSE_PASSWORD=%s\n' "$(openssl rand -hex 16)" "$(openssl rand -hex 16)" >connections.env
fi
[ ! -e tls.crt ] || exit 0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 -subj "/CN=PyMigrate" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.crt 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout tls.key -out tls.csr 2>/dev/null
cat >tls.cnf <<EXTENSIONS
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:$name,DNS:$name.$namespace,DNS:$name.$namespace.svc,DNS:$name.$namespace.svc.cluster.local,DNS:localhost
EXTENSIONS
openssl x509 -req -sha256 -days 825 -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile tls.cnf -out tls.crt.new 2>/dev/null
# The authority's key has done its work: nobody can sign by it any more.
rm -f tls.csr tls.cnf ca.key ca.srl
mv tls.crt.new tls.crt
