package vulndb

import "fmt"

// Problem is why a database cannot be used.
type Problem string

// The problems.
const (
	// Missing: there is no database, or none that was prepared for this
	// version.
	Missing Problem = "missing"
	// Corrupt: what is there is not what was installed, or is no database.
	Corrupt Problem = "corrupt"
	// TooOld: its build, or some provider's data, is older than allowed, or
	// has no date that could be judged.
	TooOld Problem = "too old"
	// FromFuture: its build, or some provider's data, is dated in the future. This
	// machine's clock is wrong, or that of the machine that built the database.
	FromFuture Problem = "from the future"
)

// UnusableError says that the database in Dir cannot be used until another one
// is installed. Dir is empty where the error is about a description alone.
type UnusableError struct {
	Problem Problem
	Dir     string
	Err     error
}

// Error names the directory, the problem and the cause.
func (e *UnusableError) Error() string {
	where := ""
	if e.Dir != "" {
		where = " in " + e.Dir
	}
	return fmt.Sprintf("the vulnerability database%s is %s: %v", where, e.Problem, e.Err)
}

// Unwrap returns the cause.
func (e *UnusableError) Unwrap() error { return e.Err }
