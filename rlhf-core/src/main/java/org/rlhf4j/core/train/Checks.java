package org.rlhf4j.core.train;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.EncodedDataset;

/**
 * What is found where somebody looks, before anything is run, at what a configuration names. A
 * problem does not end the look: all of them are thrown together at its end.
 */
public final class Checks {
  private final Consumer<String> warnings;
  private final List<RlhfException> problems = new ArrayList<>();
  private final List<Fact> facts = new ArrayList<>();

  /**
   * Something found; the name is empty for a further line of the fact before.
   *
   * @param name of what it is about
   * @param text one line
   */
  public record Fact(String name, String text) {}

  /** Nothing found yet; takes warnings, one line each. */
  public Checks(Consumer<String> warnings) {
    this.warnings = warnings;
  }

  /** Looks at something; null, and a problem, where it would stop the run. */
  public <T> T look(Supplier<T> at) {
    try {
      return at.get();
    } catch (RlhfException e) {
      problem(e);
      return null;
    }
  }

  /** Looks whether something holds; what it throws becomes a problem. */
  public void require(Runnable condition) {
    look(
        () -> {
          condition.run();
          return null;
        });
  }

  /** Adds what would stop the run. */
  public void problem(RlhfException found) {
    boolean known = problems.stream().anyMatch(e -> e.getMessage().equals(found.getMessage()));
    if (!known) {
      problems.add(found);
    }
  }

  /** Adds what a run would only warn of. */
  public void warn(String line) {
    warnings.accept(line);
  }

  /** Adds something to show where nothing stops the run. */
  public void fact(String name, String text) {
    facts.add(new Fact(name, text));
  }

  /** Reads rows, and tells what became of them; null where they would stop the run. */
  public <T> EncodedDataset<T> data(String name, Supplier<EncodedDataset<T>> load) {
    EncodedDataset<T> read = look(load);
    if (read != null) {
      List<String> lines = read.report().lines();
      for (int i = 0; i < lines.size(); i++) {
        fact(i == 0 ? name : "", lines.get(i));
      }
    }
    return read;
  }

  /** What there is to show, in the order of looking. */
  public List<Fact> facts() {
    return List.copyOf(facts);
  }

  /**
   * Ends the look.
   *
   * @throws RlhfException with a line for each problem, where there are any
   */
  public void throwProblems() {
    if (!problems.isEmpty()) {
      throw RlhfException.together(problems);
    }
  }
}
