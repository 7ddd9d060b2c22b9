"""What docs/clients.md recommends to Alembic, as it stands there."""


def include_name(name, type_, parent_names):
    return (type_, name) != ("schema", "idempotent")


def include_object(object, name, type_, reflected, compare_to):
    return not (type_ == "column" and reflected and name == "first_arrived")
