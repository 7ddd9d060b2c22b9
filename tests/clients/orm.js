// Sends a batch of orders with TypeORM or Sequelize, as told on stdin: {"way": …, "orders": [{order_id, amount, …}, …],
// "table": …}. Prints what the library reported, or the error that it gave, as JSON. The environment says where the
// server is.
'use strict';

const fs = require('fs');

const { PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD } = process.env;

// --- TypeORM -----------------------------------------------------------------------------------------------------

async function typeorm(table, work) {
  const { DataSource, EntitySchema } = require('typeorm');
  const Order = new EntitySchema({
    name: 'Order',
    tableName: table,
    columns: {
      id: { type: 'bigint', primary: true, generated: 'identity' },
      order_id: { type: 'text', unique: true },
      amount: { type: 'numeric' },
      placed_at: { type: 'timestamptz' },
      note: { type: 'text', nullable: true },
    },
  });
  const source = new DataSource({
    type: 'postgres',
    host: PGHOST,
    port: Number(PGPORT),
    database: PGDATABASE,
    username: PGUSER,
    password: PGPASSWORD,
    entities: [Order],
  });
  await source.initialize();
  try {
    return await work(source.getRepository(Order), source);
  } finally {
    await source.destroy();
  }
}

// --- Sequelize ---------------------------------------------------------------------------------------------------

async function sequelize(table, work) {
  const { Sequelize, DataTypes } = require('sequelize');
  const database = new Sequelize(PGDATABASE, PGUSER, PGPASSWORD, {
    dialect: 'postgres',
    host: PGHOST,
    port: Number(PGPORT),
    logging: false,
  });
  const Order = database.define(
    'Order',
    {
      id: { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true },
      order_id: { type: DataTypes.TEXT, unique: true },
      amount: DataTypes.DECIMAL(12, 2),
      placed_at: DataTypes.DATE,
      note: DataTypes.TEXT,
    },
    { tableName: table, timestamps: false },
  );
  try {
    return await work(Order, database);
  } finally {
    await database.close();
  }
}

// The id that each object holds afterwards, by the key that it was made with.
const held = (objects) => Object.fromEntries(objects.map((o) => [o.order_id, o.id == null ? null : Number(o.id)]));

const ways = {
  typeormSave: (table, orders) =>
    typeorm(table, async (repository) => held(await repository.save(repository.create(orders)))),

  typeormInsert: (table, orders) =>
    typeorm(table, async (repository) => {
      const result = await repository.insert(orders);
      return result.raw.map((row) => Number(row.id));
    }),

  typeormInsertAlone: (table, orders) =>
    typeorm(table, async (repository) => {
      const insert = repository.createQueryBuilder().insert().values(orders).updateEntity(false);
      await insert.execute();
      return null;
    }),

  sequelizeBulkCreate: (table, orders) => sequelize(table, async (Order) => held(await Order.bulkCreate(orders))),

  sequelizeIgnoreDuplicates: (table, orders) =>
    sequelize(table, async (Order) => {
      const made = await Order.bulkCreate(orders, { ignoreDuplicates: true, returning: false });
      return made.some((order) => order.id != null) ? held(made) : null;
    }),

  sequelizeCreate: (table, orders) =>
    sequelize(table, (Order, database) =>
      database.transaction(async (transaction) => {
        const made = [];
        for (const order of orders) made.push(await Order.create(order, { transaction }));
        return held(made);
      }),
    ),
};

async function main() {
  const { way, table, orders } = JSON.parse(fs.readFileSync(0, 'utf8'));
  let seen;
  try {
    seen = { reports: await ways[way](table, orders) };
  } catch (error) {
    const cause = error.driverError ?? error.original ?? {};
    seen = {
      error: {
        type: error.name,
        sqlstate: cause.code ?? null,
        detail: cause.detail ?? null,
        constraint: cause.constraint ?? null,
      },
    };
  }
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
