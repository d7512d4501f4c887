package shards

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gimbal/internal/durable"
)

// Cache is a tokenised corpus on the disk.
type Cache struct {
	Dir       string    `json:"dir"`
	Bytes     int64     `json:"bytes"`
	Used      time.Time `json:"used"` // last opened
	Documents int64     `json:"documents"`
	Tokens    int64     `json:"tokens"`
	Broken    string    `json:"broken,omitempty"` // why it would be made again; also of one that was never finished
}

// cacheName is the folder of caches in a run, where there is no other place for them.
const cacheName = "cache"

// DefaultDir returns where caches are by default. Only the user may read them.
func DefaultDir() string {
	if base, err := os.UserCacheDir(); err == nil {
		return filepath.Join(base, "gimbal")
	}
	return tempDir() // a container without a home
}

// tempDir is a folder of the user in the one that all users share.
func tempDir() string { return filepath.Join(os.TempDir(), fmt.Sprintf("gimbal-%d", os.Getuid())) }

// Places are the folders for caches, in the order in which they are tried, and why the default is not the first; nil:
// it is. out is the directory of the run that the text is for; empty: there is none.
func Places(out string) (dirs []string, why error) {
	base, err := os.UserCacheDir()
	if err == nil {
		dirs = append(dirs, filepath.Join(base, "gimbal"))
	}
	if out != "" {
		dirs = append(dirs, filepath.Join(out, cacheName))
	}
	return append(dirs, tempDir()), err
}

// Caches lists the caches in a folder ("" for the default), the one last used first, without hashing them.
func Caches(parent string) ([]Cache, error) {
	if parent == "" {
		parent = DefaultDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []Cache
	for _, e := range entries {
		if !e.IsDir() || !isCache(e.Name()) {
			continue
		}
		c := Cache{Dir: filepath.Join(parent, e.Name())}
		info, err := e.Info()
		if err != nil {
			continue // it was removed meanwhile
		}
		c.Used = info.ModTime()
		err = filepath.WalkDir(c.Dir, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				c.Bytes += info.Size()
			}
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if m, err := readManifest(durable.OS, c.Dir, e.Name()); err != nil {
			c.Broken = err.Error()
		} else {
			c.Documents, c.Tokens = m.Documents, m.Tokens
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b Cache) int { return b.Used.Compare(a.Used) })
	return list, nil
}

// isCache reports whether a name is that of a cache, or of one that was being made. Other names are left alone.
func isCache(name string) bool {
	if strings.HasPrefix(name, durable.TempPrefix) && name != durable.TempPrefix {
		return true
	}
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 32 && name == strings.ToLower(name)
}

// Busy reports whether a process may be making the cache.
func (c Cache) Busy() bool {
	held, known := durable.InUse(c.Dir)
	return held || !known && strings.HasPrefix(filepath.Base(c.Dir), durable.TempPrefix)
}

// Remove deletes the cache. A process that has it open keeps its mappings, or prevents the deletion, by system.
func (c Cache) Remove() error { return os.RemoveAll(c.Dir) }
