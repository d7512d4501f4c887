package baseline

// slot is one n-gram of two or more tokens. With millions of them memory is the limit, so a slot has 16 bytes: the
// three counters share a word.
type slot struct {
	key  uint64 // hash of the n-gram; 0 is an empty slot
	stat uint64 // count (22 bits) | total (22) | types (20)
}

const (
	maxCount = 1<<22 - 1
	oneCount = 1 << 42
	oneTotal = 1 << 20
	oneType  = 1
)

func (s slot) count() uint64 { return s.stat >> 42 }            // times it was seen
func (s slot) total() uint64 { return s.stat >> 20 & maxCount } // times something followed it
func (s slot) types() uint64 { return s.stat & MaxVocab }       // how many different ones did

// table is a hash table with open addressing and linear probing. It doubles until it has limit slots, and is never more
// than three quarters full.
type table struct {
	slots []slot
	used  int
	limit int
}

func (t *table) init(limit int) {
	*t = table{slots: make([]slot, min(1<<12, limit)), limit: limit}
}

func room(slots int) int { return slots / 4 * 3 }

// tight reports whether the next n insertions need a larger table, and it may grow.
func (t *table) tight(n int) bool {
	return len(t.slots) < t.limit && t.used+n > room(len(t.slots))
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for _, s := range old {
		if s.key == 0 {
			continue
		}
		i := s.key & mask
		for t.slots[i].key != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

// find returns the slot of key, or -1.
func (t *table) find(key uint64) int {
	mask := uint64(len(t.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		switch t.slots[i].key {
		case key:
			return int(i)
		case 0:
			return -1
		}
	}
}

// findOrAdd returns the slot of an n-gram of length k and whether it is new; -1 if it is missing and its length has
// used up its room.
func (t *table) findOrAdd(key uint64, k int) (at int, fresh bool) {
	mask := uint64(len(t.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		switch t.slots[i].key {
		case key:
			return int(i), false
		case 0:
			if t.used >= room(t.limit)/8*(10-k) {
				return -1, false
			}
			t.slots[i].key = key
			t.used++
			return int(i), true
		}
	}
}

// mix extends the hash of an n-gram by one token; never 0. It is the finalizer of SplitMix64 (Steele, Lea and Flood
// 2014) over the pair.
func mix(h uint64, tok int32) uint64 {
	h += (uint64(uint32(tok)) + 1) * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return h | 1<<63
}
