//go:build (!amd64 && !arm64) || purego

package kernel

func machineTiers() []Tier { return []Tier{Generic} }
