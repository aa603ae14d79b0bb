# The keys of the map are the relations, so a phase can have a dataset for each.
data "pymigrate_discovered_schema" "crm" {
  connection    = pymigrate_connection.crm.name
  relation_glob = "public.*"
}

output "tables" {
  value = { for name, relation in data.pymigrate_discovered_schema.crm.relations : name => relation.rows }
}
