package graph

import (
	"fmt"
	"reflect"

	"gimbal/internal/config"
)

// Check returns an error that names the first choice of an architecture that these programs do not compute.
func Check(a config.Arch) error {
	refuse := func(choice string, value any) error {
		return fmt.Errorf(
			"graph: accelerators do not compute shape %s with %s %v: set numeric.device=cpu",
			a.Shape,
			choice,
			value,
		)
	}
	v := reflect.ValueOf(a.Variant)
	for i := range v.NumField() {
		// Layers that differ are alike within the window.
		if f := v.Type().Field(i); !v.Field(i).IsZero() && f.Name != "Pattern" {
			return refuse(f.Name, v.Field(i))
		}
	}
	for i := range a.Layers {
		if l := a.Layer(i); l != a.Layer(0) || l.Window > 0 || l.Theta != a.RopeTheta {
			return refuse("layers that differ or a window of", a.Window)
		}
	}
	switch {
	case a.MLPKind != "swiglu" && a.MLPKind != "gelu":
		return refuse("MLPKind", a.MLPKind)
	case a.RopeScale.Gain != 0 && a.RopeScale.Gain != 1:
		return refuse("RopeScale", a.RopeScale.Kind)
	}
	return nil
}
