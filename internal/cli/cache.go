package cli

import (
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/observe"
)

var cacheMaxFlag = &cli.StringFlag{Name: "cache-max", EnvVars: []string{"IMAGEGATE_CACHE_MAX"}, Value: "1GB", DefaultText: "1GB",
	Usage: "limit the scan cache to `SIZE`; 0 disables the cache"}

func cacheCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "cache",
		Usage: "manage the scan cache",
		Description: "imagegate stores the SBOM of each image that it checks, by the digest of the image. The next\n" +
			"check of the same digest uses the stored SBOM and reads no layers. imagegate also stores the file\n" +
			"list of each layer, and the files that the scan read. A check of another image with the same\n" +
			"layer then does not pull this layer. The cache also has the findings for a database, and says\n" +
			"which repository of an approved registry has which blob.\n\n" +
			"Each entry is authenticated with a secret key, from IMAGEGATE_CACHE_KEY or from a file in the\n" +
			"user's configuration folder, and the parts of layers are encrypted with it. imagegate ignores an\n" +
			"entry that was stored with another key.",
		Subcommands: []*cli.Command{{
			Name:   "status",
			Usage:  "show the size of the cache",
			Flags:  []cli.Flag{cacheFlag, sharedFlag},
			Action: func(c *cli.Context) error { return runCacheStatus(c, s) },
		}, {
			Name:   "prune",
			Usage:  "remove the least recently used entries until the cache is not larger than --cache-max",
			Flags:  []cli.Flag{cacheFlag, sharedFlag, cacheMaxFlag},
			Action: func(c *cli.Context) error { return runCachePrune(c, s) },
		}},
	}
}

func runCacheStatus(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	kept, err := catalogCache(c, math.MaxInt64)
	if err != nil {
		return err
	}
	status, err := kept.Status()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%d entries, %s\n", status.Entries, observe.Bytes(status.Bytes))
	if !status.Oldest.IsZero() {
		fmt.Fprintf(s.Out, "least recently used %s\n", status.Oldest.Format(time.RFC3339))
	}
	return nil
}

func runCachePrune(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	limit, err := cacheMax(c)
	if err != nil {
		return err
	}
	kept, err := catalogCache(c, limit)
	if err != nil {
		return err
	}
	removed, err := kept.Prune(limit)
	fmt.Fprintf(s.Out, "removed %d entries, %s\n", removed.Entries, observe.Bytes(removed.Bytes))
	return err
}

// openCache opens the scan cache in the folder of --cache-dir, with the size limit of --cache-max.
func openCache(c *cli.Context) (*cache.Cache, error) {
	limit, err := cacheMax(c)
	if err != nil {
		return nil, err
	}
	return catalogCache(c, limit)
}

func catalogCache(c *cli.Context, limit int64) (*cache.Cache, error) {
	dir, err := catalogDir(c)
	if err != nil {
		return nil, err
	}
	var key []byte
	if limit > 0 {
		if key, err = cacheKey(c, dir, true); err != nil {
			return nil, err
		}
	}
	return cache.Open(cache.Options{Dir: dir, Max: limit, Now: time.Now, Key: key})
}

// existingCache opens the scan cache only for reading, and reports whether a cache key exists. It
// writes nothing.
func existingCache(c *cli.Context) (kept *cache.Cache, hasKey bool, err error) {
	dir, err := catalogDir(c)
	if err != nil {
		return nil, false, err
	}
	key, err := cacheKey(c, dir, false)
	if err != nil {
		return nil, false, err
	}
	kept, err = cache.Open(cache.Options{Dir: dir, Max: 1, Now: time.Now, Key: key})
	return kept, key != nil, err
}

func catalogDir(c *cli.Context) (string, error) {
	dir, err := cacheDir(c)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "catalog")
	return dir, checkFolder(c, dir)
}

func cacheMax(c *cli.Context) (int64, error) {
	n, err := humanize.ParseBytes(c.String("cache-max"))
	if err != nil || n > math.MaxInt64 {
		return 0, exit.Usagef("invalid --cache-max %q: must be a size such as 500MB", c.String("cache-max"))
	}
	return int64(n), nil
}
