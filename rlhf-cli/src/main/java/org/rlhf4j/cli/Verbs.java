package org.rlhf4j.cli;

import java.util.List;

/** The verbs there are, in the order of the help. */
final class Verbs {
  static final List<Verb<?>> ALL = List.of(new BenchVerb());

  private Verbs() {}
}
