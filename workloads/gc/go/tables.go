package main

// ---- map.c

type mapEntry struct {
	next  *mapEntry
	value []byte
	key   uint64
}

type hashMap struct {
	r     *run
	table []*mapEntry
	count uint64
}

func (m *hashMap) bucket(key uint64) uint64 {
	return (key * 0x9e3779b97f4a7c15) >> 20 & uint64(len(m.table)-1)
}

func (m *hashMap) makeValue(key, stamp uint64) []byte {
	length := 8 + (key^stamp)%57
	value := make([]byte, length)
	m.r.objects++
	value[0] = byte(length)
	value[length-1] = byte(key + stamp)
	return value
}

func sumValue(value []byte) uint64 { return uint64(value[value[0]-1]) + uint64(value[0]) }

func (m *hashMap) grow() {
	before := m.table
	m.table = make([]*mapEntry, 2*len(before))
	m.r.objects++
	for _, entry := range before {
		for entry != nil {
			next := entry.next
			at := m.bucket(entry.key)
			entry.next = m.table[at]
			m.table[at] = entry
			entry = next
		}
	}
}

func (m *hashMap) put(key, stamp uint64) {
	value := m.makeValue(key, stamp)
	entry := m.table[m.bucket(key)]
	for entry != nil && entry.key != key {
		entry = entry.next
	}
	if entry != nil {
		m.r.checksum += sumValue(entry.value)
		entry.value = value
		return
	}
	if m.count == uint64(len(m.table)) {
		m.grow()
	}
	at := m.bucket(key)
	m.table[at] = &mapEntry{m.table[at], value, key}
	m.r.objects++
	m.count++
}

func (m *hashMap) takeOut(key uint64) {
	for place := &m.table[m.bucket(key)]; *place != nil; place = &(*place).next {
		if entry := *place; entry.key == key {
			m.r.checksum += 3 * sumValue(entry.value)
			*place = entry.next
			m.count--
			return
		}
	}
}

func runMap(r *run) {
	keys, steps := r.values["keys"], r.scaled("ops")
	m := hashMap{r: r, table: make([]*mapEntry, 64)}
	r.objects++
	for step := uint64(0); step < steps; step++ {
		key := r.below(keys)
		if step%8 == 7 {
			m.takeOut(key)
		} else {
			m.put(key, step)
		}
	}
	found := uint64(0)
	for _, entry := range m.table {
		for ; entry != nil; entry = entry.next {
			r.checksum += 7 * sumValue(entry.value)
			found++
		}
	}
	if found != m.count {
		wrong("the map lost entries")
	}
}

// ---- lru.c

type lruEntry struct {
	newer, older, chained *lruEntry
	value                 []uint64
	key                   uint64
}

type cache struct {
	r           *run
	table       []*lruEntry
	anchor      lruEntry
	count, most uint64
}

func (c *cache) chain(key uint64) uint64 {
	return (key * 0x9e3779b97f4a7c15) >> 20 & uint64(len(c.table)-1)
}

func (c *cache) linkNewest(entry *lruEntry) {
	second := c.anchor.older
	entry.older = second
	entry.newer = &c.anchor
	second.newer = entry
	c.anchor.older = entry
}

func (entry *lruEntry) unlink() {
	entry.older.newer = entry.newer
	entry.newer.older = entry.older
}

func (c *cache) evictOldest() {
	oldest := c.anchor.newer
	place := &c.table[c.chain(oldest.key)]
	for *place != oldest {
		if *place == nil {
			wrong("an entry is in the list of use and not in the table")
		}
		place = &(*place).chained
	}
	*place = oldest.chained
	oldest.unlink()
	c.r.checksum = c.r.checksum*31 + oldest.key
	c.count--
}

func (c *cache) add(key uint64) {
	if c.count == c.most {
		c.evictOldest()
	}
	words := 4 + key%61
	entry := &lruEntry{value: make([]uint64, words), key: key}
	c.r.objects += 2
	entry.value[0] = words
	entry.value[words-1] = key
	at := c.chain(key)
	entry.chained = c.table[at]
	c.table[at] = entry
	c.linkNewest(entry)
	c.count++
}

func (c *cache) use(key uint64) {
	entry := c.table[c.chain(key)]
	for entry != nil && entry.key != key {
		entry = entry.chained
	}
	if entry == nil {
		c.add(key)
		return
	}
	if entry.value[entry.value[0]-1] != key {
		wrong("a value is not what was stored")
	}
	c.r.checksum += entry.value[0]
	entry.unlink()
	c.linkNewest(entry)
}

func runLRU(r *run) {
	steps := r.scaled("ops")
	chains := uint64(64)
	for chains < r.values["entries"] {
		chains *= 2
	}
	c := &cache{r: r, table: make([]*lruEntry, chains), most: r.values["entries"]}
	r.objects += 2
	c.anchor.newer = &c.anchor
	c.anchor.older = &c.anchor
	for step := uint64(0); step < steps; step++ {
		one, other := r.below(4*c.most), r.below(4*c.most)
		if other < one {
			one = other
		}
		c.use(one)
	}
	for c.count > 0 {
		c.evictOldest()
	}
}
