// Prints what the reference importer (npm ipfs-unixfs-importer, profile unixfs-v1-2025) makes of test files:
// for each size the root's CID and the inner nodes' CIDs, depth last. Byte i of a test file is i % 251.
//   node tests/vectors/unixfs.mjs contracts > tests/vectors/unixfs.json
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const CHUNK = 1 << 20
const SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 1024 * CHUNK, 1024 * CHUNK + 1]

const [folder] = process.argv.slice(2)
const require = createRequire(pathToFileURL(`${folder}/`))
const load = (name) => import(pathToFileURL(require.resolve(name)))
const { importer } = await load('ipfs-unixfs-importer')
const { BlackHoleBlockstore } = await load('blockstore-core/black-hole')

const pattern = Uint8Array.from({ length: CHUNK + 251 }, (_, i) => i % 251)

function * bytes (size) {
  for (let start = 0; start < size; start += CHUNK) {
    yield pattern.subarray(start % 251, start % 251 + Math.min(CHUNK, size - start))
  }
}

class Recorder extends BlackHoleBlockstore {
  nodes = []

  put (cid, block, options) {
    if (cid.code === 0x70) this.nodes.push(cid.toString())
    return super.put(cid, block, options)
  }
}

const made = []
for (const size of SIZES) {
  const store = new Recorder()
  for await (const { cid } of importer([{ content: bytes(size) }], store, { profile: 'unixfs-v1-2025' })) {
    made.push({ size, cid: cid.toString(), nodes: store.nodes })
  }
}
console.log(JSON.stringify(made, null, 2))
