//go:build (!amd64 && !arm64) || purego

package kernel

func machineTiers() []Tier { return []Tier{Generic} }

// archTables are the tables of all tiers of this architecture.
func archTables() []tierTable { return nil }
