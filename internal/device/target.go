package device

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// targets has descriptions of cards, GpuTargetConfigProto of XLA as text: what a compiler wants to know.
//
//go:embed targets/*.txtpb
var targets embed.FS

// Targets are the cards that programs can be compiled for without one.
func Targets() (names []string) {
	files, _ := fs.Glob(targets, "targets/*.txtpb") // the pattern is right
	for _, f := range files {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(f, "targets/"), ".txtpb"))
	}
	return names
}

var (
	targetName   = regexp.MustCompile(`device_description_str: "(.*)"`)
	targetMemory = regexp.MustCompile(`device_memory_size: (\d+)`)
)

// readTarget returns the description of a card, and the device that it is.
func readTarget(name string) (config string, d Device, err error) {
	data, err := targets.ReadFile("targets/" + name + ".txtpb")
	if err != nil {
		return "", d, fmt.Errorf("no card is called %q: known are %s", name, strings.Join(Targets(), ", "))
	}
	config = string(data)
	d.Kind = targetName.FindStringSubmatch(config)[1]
	d.Memory, err = strconv.ParseInt(targetMemory.FindStringSubmatch(config)[1], 10, 64)
	return config, d, err
}
