-- Counts that the scripts of all listeners share, so that a client has one limit whether it comes by HTTP or HTTPS:
-- a table in a file that is mapped into memory. It outlives listeners and Envoy. One thread writes it, so no locks.
-- A key has its place in a row of eight; in a full row the count that would end first makes room.
local ffi, bit = require("ffi"), require("bit")

ffi.cdef [[
int open(const char *path, int flags);
int close(int descriptor);
void *mmap(void *address, size_t length, int protection, int flags, int descriptor, long offset);
typedef struct { uint64_t key; uint32_t ends; uint32_t count; } edge_count;
]]

local ROWS, PLACES, SIZE = 16384, 8, 16
local READ_WRITE, PROTECTION, SHARED = 2, 3, 1

local function mapped(path)
  local descriptor = ffi.C.open(path, READ_WRITE)
  assert(descriptor >= 0, "cannot open " .. path)
  local memory = ffi.C.mmap(nil, (ROWS + 1) * PLACES * SIZE, PROTECTION, SHARED, descriptor, 0)
  ffi.C.close(descriptor)
  assert(ffi.cast("intptr_t", memory) ~= -1, "cannot map " .. path)
  return ffi.cast("edge_count *", memory)
end

local table_of_counts = mapped(COUNTS_FILE)
-- The row before the first holds a random number, so that nobody can choose keys that push each other out.
local seed, counts = table_of_counts[0].key, table_of_counts + PLACES

-- FNV-1a, 64 bits.
local function hash(text)
  local value = seed
  for index = 1, #text do value = bit.bxor(value, text:byte(index)) * 0x100000001b3ULL end
  return value
end

local function place_of(key, now)
  local first = tonumber(bit.band(bit.rshift(key, 20), ROWS - 1)) * PLACES
  local free, soonest = nil, first
  for index = first, first + PLACES - 1 do
    local one = counts[index]
    if one.key == key then return index end
    if not free and one.ends <= now then free = index end
    if one.ends < counts[soonest].ends then soonest = index end
  end
  return free or soonest
end

local hashes, known = {}, 0

-- Where `key` is counted until `ends` (seconds since 1970): `count` of the answer may be read and raised at once.
function edge.count_of(key, ends, now)
  local hashed = hashes[key]
  if not hashed then
    if known >= 10000 then hashes, known = {}, 0 end
    hashed = hash(key)
    hashes[key], known = hashed, known + 1
  end
  local one = counts[place_of(hashed, now)]
  if one.key ~= hashed or one.ends ~= ends then one.key, one.ends, one.count = hashed, ends, 0 end
  return one
end
