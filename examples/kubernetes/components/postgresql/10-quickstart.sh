#!/bin/bash
# Run once by the image, on an empty volume: the quickstart's legacy system with some rows, and an empty warehouse.
set -eu -o pipefail
sql() { psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"; }

sql --dbname postgres -v legacy="$LEGACY_PASSWORD" -v warehouse="$WAREHOUSE_PASSWORD" <<'SQL'
CREATE ROLE legacy LOGIN PASSWORD :'legacy';
CREATE ROLE warehouse LOGIN PASSWORD :'warehouse';
CREATE DATABASE legacy OWNER legacy;
CREATE DATABASE warehouse OWNER warehouse;
SQL

PGOPTIONS="--role=legacy" sql --dbname legacy <<'SQL'
CREATE TABLE public.customers (id bigint PRIMARY KEY, name text NOT NULL, since date NOT NULL);
CREATE TABLE public.orders (
    id bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES public.customers (id),
    amount numeric(12, 2) NOT NULL,
    note text
);
INSERT INTO public.customers SELECT at, 'Customer ' || at, date '2001-01-01' + at::int FROM generate_series(1, 1000) AS at;
INSERT INTO public.orders
SELECT at, 1 + at % 1000, (at % 10000) / 100.0, CASE WHEN at % 7 > 0 THEN 'order ' || at END FROM generate_series(1, 20000) AS at;
SQL
