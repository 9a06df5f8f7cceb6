/**
 * The command line. {@link org.rlhf4j.cli.Main} finds the verb, makes its options from its
 * configuration record, and turns failures into one line and an exit status.
 */
package org.rlhf4j.cli;
