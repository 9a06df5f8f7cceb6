package org.rlhf4j.core.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import java.util.List;
import java.util.function.ToIntFunction;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;

class DeadKeysTest {
  record Inner(
      @Key(doc = "called", defaultValue = "1") int called,
      @Key(doc = "referenced", defaultValue = "1") int referenced,
      @Key(doc = "derived", defaultValue = "1") int derived,
      @Key(doc = "checked only", defaultValue = "1") int checkedOnly)
      implements Checked {
    int twiceDerived() {
      return 2 * derived;
    }

    @Override
    public void check(Problems problems) {
      problems.require(checkedOnly() > 0, "checked_only");
    }
  }

  record Outer(@Flattened Inner inner, @Key(doc = "dead", defaultValue = "1") int dead) {}

  static final class Reader {
    int read(Outer outer) {
      ToIntFunction<Inner> reference = Inner::referenced;
      return outer.inner().called()
          + outer.inner().twiceDerived()
          + reference.applyAsInt(outer.inner());
    }
  }

  @Test
  void namesExactlyTheComponentsThatNothingOutsideReads() {
    JavaClasses classes =
        new ClassFileImporter().importClasses(Inner.class, Outer.class, Reader.class);
    assertEquals(
        List.of("Outer.dead", "Inner.checkedOnly"), DeadKeys.find(List.of(Outer.class), classes));
  }
}
