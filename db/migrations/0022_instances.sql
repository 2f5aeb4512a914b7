-- What instances say of themselves: how many slots they have, and which version they are.
begin;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;

insert into tocsin.schema_migrations (version) values (22);

alter table tocsin.instance_rules
    add column slots integer constraint instance_rules_slots check (slots > 0),
    add column product text constraint instance_rules_product check (octet_length(product) <= 100);

commit;
