package org.rlhf4j.core.testing;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.lang.reflect.RecordComponent;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.rlhf4j.core.config.Completing;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Key;

/** Finds configuration keys that no code reads. */
public final class DeadKeys {
  /** The method of {@link Completing}. */
  private static final String COMPLETE = "complete";

  /** Test classes and what is nested in them, wherever they were compiled to. */
  private static final Pattern TESTS = Pattern.compile(".*Test(\\$.*)?\\.class");

  private DeadKeys() {}

  /** All classes of the library on the class path, tests left out. */
  public static JavaClasses libraryClasses() {
    return new ClassFileImporter()
        .withImportOption(new ImportOption.DoNotIncludeTests())
        .withImportOption(location -> !location.contains("-tests.jar"))
        .withImportOption(location -> !location.matches(TESTS))
        .importPackages("org.rlhf4j");
  }

  /**
   * Compares the components of configuration records with what compiled code reads. A component
   * counts as read if code outside the records calls its accessor, or calls a method of a record
   * that reads it. What the records' own checks read does not count.
   *
   * @param records the outermost records; flattened ones are followed
   * @param classes the code that should read them
   * @return the components that nothing reads, as {@code SftConfig.packing}
   */
  public static List<String> find(
      Collection<Class<? extends Record>> records, JavaClasses classes) {
    Set<Class<?>> all = withInner(records);
    Set<String> names = new HashSet<>();
    all.forEach(record -> names.add(record.getName()));

    Set<String> readMembers = readMembers(classes, names);
    List<String> dead = new ArrayList<>();
    for (Class<?> record : all) {
      for (RecordComponent component : record.getRecordComponents()) {
        boolean inner = component.isAnnotationPresent(Flattened.class);
        if (!inner && !readMembers.contains(record.getName() + "." + component.getName())) {
          dead.add(record.getSimpleName() + "." + component.getName());
        }
      }
    }
    return dead;
  }

  /** The records and those that they flatten. */
  public static Set<Class<?>> withInner(Collection<Class<? extends Record>> records) {
    Set<Class<?>> all = new LinkedHashSet<>();
    records.forEach(record -> addWithInner(record, all));
    return all;
  }

  /** The names of all records that declare a key. */
  public static Set<String> recordsWithKeys(JavaClasses classes) {
    return classes.stream()
        .filter(JavaClass::isRecord)
        .filter(
            record ->
                Arrays.stream(record.reflect().getRecordComponents())
                    .anyMatch(component -> component.isAnnotationPresent(Key.class)))
        .map(JavaClass::getName)
        .collect(Collectors.toSet());
  }

  private static void addWithInner(Class<?> record, Set<Class<?>> all) {
    if (all.add(record)) {
      for (RecordComponent component : record.getRecordComponents()) {
        if (component.isAnnotationPresent(Flattened.class)) {
          addWithInner(component.getType(), all);
        }
      }
    }
  }

  /** Members of the records, as {@code class.member}, that are reached from outside them. */
  private static Set<String> readMembers(JavaClasses classes, Set<String> records) {
    Set<String> reached = new HashSet<>();
    Deque<JavaCodeUnit> open = new ArrayDeque<>();
    for (JavaClass each : classes) {
      if (!records.contains(each.getName())) {
        each.getCodeUnits().forEach(open::add);
      } else if (each.isAssignableTo(Completing.class)) {
        // The builder calls it through the interface, which shows no call of the record.
        each.getMethods().stream()
            .filter(method -> method.getName().equals(COMPLETE))
            .forEach(open::add);
      }
    }
    while (!open.isEmpty()) {
      JavaCodeUnit unit = open.remove();
      Stream.concat(
              unit.getMethodCallsFromSelf().stream(), unit.getMethodReferencesFromSelf().stream())
          .map(access -> access.getTarget())
          .filter(target -> records.contains(target.getOwner().getName()))
          .forEach(
              target -> {
                if (reached.add(target.getOwner().getName() + "." + target.getName())) {
                  target.resolveMember().ifPresent(open::add);
                }
              });
      unit.getFieldAccesses().stream()
          .map(access -> access.getTarget())
          .filter(target -> records.contains(target.getOwner().getName()))
          .forEach(target -> reached.add(target.getOwner().getName() + "." + target.getName()));
    }
    return reached;
  }
}
