package runlog

import (
	"reflect"
	"runtime/debug"
	"strings"
)

// Version is the version of this module in this build. In a build of the module itself it has the revision, where the
// go command recorded one.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	path := strings.TrimSuffix(reflect.TypeFor[Writer]().PkgPath(), "/internal/runlog")
	for _, dep := range info.Deps {
		if dep.Path == path { // another program's build
			return versionOf(dep)
		}
	}
	version := versionOf(&info.Main)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return version + " " + s.Value[:12]
		}
	}
	return version
}

// versionOf is the version of a module, "(devel)" where there is none: it is a directory.
func versionOf(m *debug.Module) string {
	if m.Replace != nil {
		m = m.Replace
	}
	if m.Version == "" {
		return "(devel)"
	}
	return m.Version
}
