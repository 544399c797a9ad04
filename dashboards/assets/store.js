// The data blocks of the page: gzip-compressed JSON in base64, opened when first needed and then kept.

const opened = new Map();

function blockText(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no data block ${id}: the file is incomplete`);
  return element.textContent;
}

async function inflate(base64) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error(
      "this browser is too old to open the page (it lacks DecompressionStream); browsers since 2023 have it",
    );
  }
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** JSON content of the data block `id`. */
function block(id) {
  if (!opened.has(id)) opened.set(id, inflate(blockText(id)).then(JSON.parse));
  return opened.get(id);
}

/** A feature's page content, by row in the index. */
async function featureAt(index, row) {
  const size = index.page.features_per_block;
  return (await block(`features-${Math.floor(row / size)}`))[row % size];
}

/** A study's page content, by row in the index. */
async function studyAt(index, row) {
  const size = index.page.studies_per_block;
  return (await block(`studies-${Math.floor(row / size)}`))[row % size];
}

/** Address of a picture of a study, or null if the page has none. Pictures are stored once, by study. */
function pictureOf(row, image) {
  const key = `pictures-${row}`;
  if (!opened.has(key)) {
    const element = document.getElementById(key);
    opened.set(key, element ? JSON.parse(element.textContent) : {});
  }
  const stored = opened.get(key)[image];
  return stored ? `data:image/webp;base64,${stored}` : null;
}
