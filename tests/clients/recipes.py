"""What docs/clients.md recommends, as it stands there: test_page.py sees to it that the two do not part."""

import csv
import io

from sqlalchemy import insert, select


def sqlalchemy_insert_and_look_up(session, Order, rows):
    session.execute(insert(Order), rows)
    keys = [row["order_id"] for row in rows]
    found = session.scalars(select(Order).where(Order.order_id.in_(keys)))
    return {order.order_id: order for order in found}


def django_insert_and_look_up(Order, orders):
    Order.objects.bulk_create(orders, ignore_conflicts=True)
    return Order.objects.in_bulk([order.order_id for order in orders], field_name="order_id")


def copy_into_table(table, conn, columns, rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    names = ", ".join(f'"{column}"' for column in columns)
    with conn.connection.cursor() as cursor:
        with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN (FORMAT csv)") as copy:
            copy.write(text.getvalue())
        return cursor.rowcount
