// Calls what docs/sql.md shows for Node: node run.js URL RECIPE ORDER EMAIL
const { Client } = require('pg');

const [url, recipe, order, email] = process.argv.slice(2);
const remind = new Function(`${recipe}; return remind;`)();

async function main() {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await remind(client, Number(order), email);
  } finally {
    await client.end();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
