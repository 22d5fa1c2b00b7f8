-- The database of a pool: its servers make the tables.
CREATE ROLE hstratum LOGIN PASSWORD 'CHANGE_DATABASE_PASSWORD';
CREATE DATABASE pool OWNER hstratum ENCODING 'UTF8' TEMPLATE template0;
