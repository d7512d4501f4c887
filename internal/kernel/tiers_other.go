//go:build (!amd64 && !arm64) || purego

package kernel

// tiers are the assembly tiers of this CPU, best first: none.
var tiers []tierTable
