package vulndb

import (
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
)

func TestCheckAgeAcceptsFreshData(t *testing.T) {
	info := evidence.Database{Built: built.Add(-time.Hour), Providers: []evidence.Provider{{Name: "nvd", Captured: built.Add(-24 * time.Hour)}}}
	for _, max := range []time.Duration{24 * time.Hour, 120 * time.Hour} {
		if err := CheckAge(info, max, built); err != nil {
			t.Errorf("with %s: %v", max, err)
		}
	}
	if err := CheckAge(info, 24*time.Hour, built.Add(time.Second)); err == nil {
		t.Error("one second more is accepted")
	}
}

// TestFreshBuildOfOldDataIsNotFresh checks that CheckAge rejects a new build of old data. A check
// of the build date alone would accept the old data.
func TestFreshBuildOfOldDataIsNotFresh(t *testing.T) {
	info := evidence.Database{Built: built, Providers: []evidence.Provider{
		{Name: "nvd", Captured: built},
		{Name: "debian", Captured: built.Add(-300 * time.Hour)},
		{Name: "kev", Captured: built.Add(-200 * time.Hour)},
	}}
	err := CheckAge(info, 120*time.Hour, built)
	wantProblem(t, err, TooOld)
	wantError(t, err, `"debian"`, "300h", "120h")
}

func TestOldBuildIsNamed(t *testing.T) {
	info := evidence.Database{Built: built, Providers: []evidence.Provider{{Name: "nvd", Captured: built.Add(time.Hour)}}}
	err := CheckAge(info, time.Hour, built.Add(2*time.Hour))
	wantProblem(t, err, TooOld)
	wantError(t, err, "the build")
}

func TestDatabaseWithoutDatesIsNotFresh(t *testing.T) {
	good := evidence.Provider{Name: "nvd", Captured: built}
	for name, info := range map[string]evidence.Database{
		"nothing":            {},
		"no build":           {Providers: []evidence.Provider{good}},
		"no providers":       {Built: built},
		"undated provider":   {Built: built, Providers: []evidence.Provider{good, {Name: "kev"}}},
		"zero allows no age": {Built: built.Add(-time.Second), Providers: []evidence.Provider{good}},
	} {
		max := 120 * time.Hour
		if name == "zero allows no age" {
			max = 0
		}
		t.Run(name, func(t *testing.T) { wantProblem(t, CheckAge(info, max, built), TooOld) })
	}
}

// TestClockAheadIsADatabaseErrorAtOneLimit checks that CheckAge accepts a database with a date in
// the future if the difference is at most clock.Skew. With a larger difference, CheckAge returns an
// error that names both times.
func TestClockAheadIsADatabaseErrorAtOneLimit(t *testing.T) {
	for _, ahead := range []time.Duration{time.Second, clock.Skew, clock.Skew + 1, 30 * time.Minute, time.Hour, time.Hour + 1, 48 * time.Hour} {
		future := built.Add(ahead)
		for name, info := range map[string]evidence.Database{
			"build":    {Built: future, Providers: []evidence.Provider{{Name: "nvd", Captured: built}}},
			"provider": {Built: built, Providers: []evidence.Provider{{Name: "nvd", Captured: built}, {Name: "kev", Captured: future}}},
		} {
			err := CheckAge(info, 120*time.Hour, built)
			if ahead <= clock.Skew {
				if err != nil {
					t.Errorf("%s %s ahead: %v", name, ahead, err)
				}
				continue
			}
			wantProblem(t, err, FromFuture)
			wantError(t, err, built.UTC().Format(time.RFC3339), future.UTC().Format(time.RFC3339), "the clock of this machine")
		}
	}
}
