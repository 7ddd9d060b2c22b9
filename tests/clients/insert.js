// Sends a batch of orders with node-postgres, as told on stdin: {"way": …, "orders": [[order_id, amount, …], …]}.
// Prints what the library reported, or the error that it gave, as JSON. The environment says where the server is.
'use strict';

const fs = require('fs');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const { Client, DatabaseError } = require('pg');
const copyFrom = require('pg-copy-streams').from;

const columns = 'order_id, amount, placed_at, note';

const ways = {
  // A transaction with a statement for each row.
  async each(client, orders) {
    const counts = [];
    await client.query('BEGIN');
    try {
      for (const order of orders) {
        const result = await client.query(`INSERT INTO orders (${columns}) VALUES ($1, $2, $3, $4)`, order);
        counts.push(result.rowCount);
      }
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    }
    return counts;
  },

  // One statement with several rows.
  async values(client, orders) {
    const places = orders.map((_, n) => `($${4 * n + 1}, $${4 * n + 2}, $${4 * n + 3}, $${4 * n + 4})`);
    const result = await client.query(`INSERT INTO orders (${columns}) VALUES ${places.join(', ')}`, orders.flat());
    return result.rowCount;
  },

  // The same with RETURNING: `rows` has the inserted rows only.
  async returning(client, orders) {
    const result = await client.query(
      `INSERT INTO orders (${columns})
       SELECT * FROM unnest($1::text[], $2::numeric[], $3::timestamptz[], $4::text[])
       RETURNING id`,
      [0, 1, 2, 3].map((n) => orders.map((order) => order[n])),
    );
    return result.rows.map((row) => Number(row.id));
  },

  async copy(client, orders) {
    const lines = orders.map((order) => order.map((value) => (value === null ? '\\N' : value)).join('\t') + '\n');
    const stream = client.query(copyFrom(`COPY orders (${columns}) FROM STDIN`));
    await pipeline(Readable.from(lines), stream);
    return stream.rowCount;
  },
};

async function main() {
  const { way, orders } = JSON.parse(fs.readFileSync(0, 'utf8'));
  const client = new Client();
  await client.connect();
  let seen;
  try {
    seen = { reports: await ways[way](client, orders) };
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    seen = { error: { type: 'DatabaseError', sqlstate: error.code, detail: error.detail, constraint: error.constraint } };
  } finally {
    await client.end();
  }
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
