#!/bin/sh
# Makes what docker-compose.yml and deploy/systemd read from files: deploy/make-secrets.sh app.example.com [FOLDER]
# What is there already stays as it is, so running it again is safe. Needs openssl.
set -eu
umask 077
host=${1:?which host name? deploy/make-secrets.sh app.example.com}
folder=${2:-$(dirname -- "$0")/secrets}
mkdir -p -- "$folder"
chmod 0700 "$folder"
cd -- "$folder"

# Containers read the files under other user ids, so the files are open and the folder is closed.
keep() {
    [ -e "$1" ] && { cat >/dev/null; return; }
    cat >"$1.new"
    chmod 0444 "$1.new"
    mv -- "$1.new" "$1"
    echo "made $folder/$1"
}

openssl rand -base64 48 | keep secret_key
openssl rand -base64 48 | keep jwt_secret_key
openssl rand -base64 32 | tr '+/' '-_' | keep field_encryption_key
openssl rand -hex 32 | keep health_token
openssl rand -hex 32 | keep postgres_password
openssl rand -hex 32 | keep database_password
openssl rand -hex 32 | keep database_owner_password
printf 'postgresql://portico:%s@database:5432/portico\n' "$(cat database_password)" | keep database_url
printf 'postgresql://portico_owner:%s@database:5432/portico\n' "$(cat database_owner_password)" | keep database_owner_url
printf '' | keep mail_password

# A certificate nobody trusts, to try things out. Put the real fullchain.pem and privkey.pem in its place.
if [ ! -e privkey.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 365 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host" -keyout privkey.new -out fullchain.new 2>/dev/null
    keep privkey.pem <privkey.new
    keep fullchain.pem <fullchain.new
    rm -f privkey.new fullchain.new
fi
