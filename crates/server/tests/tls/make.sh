#!/bin/sh
# Makes the certificates of tests/listeners.rs anew: self-signed, valid from 2020 to 2120.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
: > "$work/index"
cat > "$work/ca.conf" << END
[ca]
default_ca = own
[own]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = ext
[any]
commonName = supplied
[ext]
subjectAltName = DNS:pool.test
basicConstraints = critical,CA:FALSE
END
for name in first second; do
    openssl ecparam -name prime256v1 -genkey -noout |
        openssl pkcs8 -topk8 -nocrypt -out "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=$name.test" -out "$work/$name.csr"
    openssl ca -batch -notext -selfsign -config "$work/ca.conf" -keyfile "$name.key" \
        -startdate 20200101000000Z -enddate 21200101000000Z \
        -in "$work/$name.csr" -out "$name.crt" 2> /dev/null
done
