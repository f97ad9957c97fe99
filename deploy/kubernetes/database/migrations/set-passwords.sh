#!/bin/sh
# Gives each role the password that /passwords has for it: one file for each, named like the role.
# psql reads the files itself, so that no password is in a command line.
set -eu
for file in "${PASSWORDS:-/passwords}"/*; do
  FILE=$file psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$DATABASE_URL" <<'SQL'
\set role `basename "$FILE"`
\set password `cat "$FILE"`
ALTER ROLE :"role" LOGIN PASSWORD :'password';
SQL
done
