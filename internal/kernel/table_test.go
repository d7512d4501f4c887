package kernel

import (
	"reflect"
	"slices"
	"testing"
)

// missing returns the fields of a table, and of those in it, that hold no function.
func missing(v reflect.Value, path string) (names []string) {
	for i := range v.NumField() {
		switch f, name := v.Field(i), path+v.Type().Field(i).Name; {
		case f.Kind() == reflect.Struct:
			names = append(names, missing(f, name+".")...)
		case f.Kind() == reflect.Func && f.IsNil():
			names = append(names, name)
		}
	}
	return names
}

// lacks returns the functions that a table must have and has not.
func lacks(k *tierTable) []string {
	may := []string{"table.packT", "table.packRows"}
	if k.tier != AVX2 {
		may = append(may, "table.packTerms")
	}
	if k.bf16.name == "" { // the twin has no loop of its own to measure
		may = append(may, "bf16.peak.run")
	}
	if k.tier == AVX2 { // it expands coded weights for several rows
		may = append(may, "table.codedBF16.tile", "table.codedInt8.tile")
	}
	if k.tier == Generic || k.tier == NEON { // decoding takes the tile kernel and Go
		may = append(append(may, "table.dots"), missing(reflect.ValueOf(codedTable{}), "table.codedBF16.")...)
		may = append(may, missing(reflect.ValueOf(codedTable{}), "table.codedInt8.")...)
	}
	all := missing(reflect.ValueOf(*k), "")
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(may, name) })
}

// TestTablesAreWhole finds functions that a table forgot, in those of tiers that this CPU lacks, too: a call would
// panic, or Go would do the work, slowly and unnoticed.
func TestTablesAreWhole(t *testing.T) {
	for _, k := range append(archTables(), genericTier) {
		if names := lacks(&k); len(names) > 0 {
			t.Errorf("%v with bfloat16 by %q lacks %q", k.tier, k.bf16.name, names)
		}
		k.bf16.name, k.bf16.panel, k.dot = "planted", nil, nil
		if names := lacks(&k); !slices.Contains(names, "bf16.panel") ||
			!slices.Contains(names, "table.vectors.dot") {
			t.Errorf("%v without panel and dot lacks only %q", k.tier, names)
		}
	}
}
