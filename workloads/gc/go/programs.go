package main

import "math/bits"

// The programs by name, as in ../programs.h. Each does what the file of that name in .. does, object for object.
var programs = map[string]func(*run){
	"bench": runBench, "trees": runTrees, "map": runMap, "lists": runLists, "lru": runLRU, "frag": runFrag,
}

// below is uniform in [0, bound), as ha_random_below().
func (r *run) below(bound uint64) uint64 {
	high, _ := bits.Mul64(r.draw(), bound)
	return high
}

const leastDepth = 4

// ---- bench.c

type benchNode struct {
	left, right *benchNode
	i, j        int32
}

func treeSize(depth uint64) uint64 { return 2<<depth - 1 }

func populate(r *run, depth uint64, node *benchNode) {
	if depth == 0 {
		return
	}
	r.objects += 2
	node.left = new(benchNode)
	node.right = new(benchNode)
	populate(r, depth-1, node.left)
	populate(r, depth-1, node.right)
}

func makeTree(r *run, depth uint64) *benchNode {
	r.objects++
	if depth == 0 {
		return new(benchNode)
	}
	left := makeTree(r, depth-1)
	right := makeTree(r, depth-1)
	return &benchNode{left: left, right: right}
}

func countNodes(node *benchNode) uint64 {
	if node == nil {
		return 0
	}
	return 1 + countNodes(node.left) + countNodes(node.right)
}

var sink *benchNode

func runBench(r *run) {
	lasting, numbers := r.values["lasting"], r.values["numbers"]
	work := uint64(float64(2*treeSize(r.values["stretch"])) * r.scale)
	sink = makeTree(r, r.values["stretch"])
	sink = nil
	long := new(benchNode)
	populate(r, lasting, long)
	array := make([]float64, numbers)
	r.objects += 2
	for i := uint64(0); i < numbers/2; i++ {
		array[i] = 1.0 / float64(i+1)
	}
	for depth := uint64(leastDepth); depth <= lasting; depth += 2 {
		trees := work/treeSize(depth) + 1
		for i := uint64(0); i < trees; i++ {
			sink = new(benchNode)
			r.objects++
			populate(r, depth, sink)
		}
		for i := uint64(0); i < trees; i++ {
			sink = makeTree(r, depth)
		}
	}
	nodes := countNodes(long)
	if nodes != treeSize(lasting) || array[numbers/4] != 1.0/float64(numbers/4+1) {
		wrong("what lives long is not what was built")
	}
	r.checksum = r.objects*31 + nodes
}

// ---- trees.c

type treeNode struct{ left, right *treeNode }

func build(r *run, depth uint64) *treeNode {
	r.objects++
	if depth == 0 {
		return new(treeNode)
	}
	left := build(r, depth-1)
	right := build(r, depth-1)
	return &treeNode{left, right}
}

func (node *treeNode) check() uint64 {
	if node.left == nil {
		return 1
	}
	return 1 + node.left.check() + node.right.check()
}

func runTrees(r *run) {
	most := r.values["depth"]
	r.checksum = build(r, most+1).check()
	long := build(r, most)
	for depth := uint64(leastDepth); depth <= most; depth += 2 {
		trees := uint64(float64(uint64(1)<<(most-depth+leastDepth))*r.scale) + 1
		for i := uint64(0); i < trees; i++ {
			r.checksum = r.checksum*31 + build(r, depth).check()
		}
	}
	lasting := long.check()
	if lasting != 2<<most-1 {
		wrong("the tree that lasts lost nodes")
	}
	r.checksum = r.checksum*31 + lasting
}

// ---- lists.c

type cell struct {
	next  *cell
	value uint64
	more  [2]uint64
}

const shortLists, middleLists, longLists = 64, 16, 4

func chooseList(r *run, longest uint64) (uint64, uint64) {
	chance := r.below(100)
	if chance < 70 {
		return r.below(shortLists), 16
	}
	if chance < 95 {
		return shortLists + r.below(middleLists), 2000
	}
	return shortLists + middleLists + r.below(longLists), longest
}

func (c *cell) drop(r *run) uint64 {
	length := uint64(0)
	for ; c != nil; c = c.next {
		r.checksum = r.checksum*31 + c.value + c.more[1]
		length++
	}
	return length
}

func runLists(r *run) {
	steps, longest := r.scaled("ops"), r.values["longest"]
	lists := make([]*cell, shortLists+middleLists+longLists)
	lengths := make([]uint64, len(lists))
	for step := uint64(0); step < steps; step++ {
		list, most := chooseList(r, longest)
		if lengths[list] == most {
			if lists[list].drop(r) != most {
				wrong("a list lost cells")
			}
			lists[list] = nil
			lengths[list] = 0
		}
		r.objects++
		lists[list] = &cell{next: lists[list], value: step, more: [2]uint64{0, step ^ list}}
		lengths[list]++
	}
	for list := range lists {
		if lists[list].drop(r) != lengths[list] {
			wrong("a list lost cells")
		}
	}
}

// ---- frag.c

func runFrag(r *run) {
	sizes := []int{32, 48, 80, 128, 208, 336, 544, 880}
	phases, burst, places := r.scaled("phases"), r.values["burst"], r.values["survivors"]
	kept := make([][]uint64, places)
	table := make([][]uint64, burst)
	r.objects += 2
	next := uint64(0)
	for phase := uint64(0); phase < phases; phase++ {
		words := sizes[phase%uint64(len(sizes))] / 8
		for i := range table {
			object := make([]uint64, words)
			r.objects++
			object[0] = phase*burst + uint64(i)
			object[words-1] = object[0]
			table[i] = object
		}
		for i, object := range table {
			if object[0] != phase*burst+uint64(i) || object[words-1] != object[0] {
				wrong("an object lost its contents")
			}
			table[i] = nil
			if r.below(8) != 0 {
				continue
			}
			if kept[next] != nil {
				r.checksum = r.checksum*31 + kept[next][0]
			}
			kept[next] = object
			next = (next + 1) % places
		}
	}
	for _, object := range kept {
		value := uint64(1)
		if object != nil {
			value = object[0]
		}
		r.checksum = r.checksum*31 + value
	}
}
